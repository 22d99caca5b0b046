"""Lowering of products with zeros: block-sparse and packed weights, sampled attention scores."""
