"""Kim et al., Full Stack Optimization of Transformer Inference (arXiv 2302.14017)."""
