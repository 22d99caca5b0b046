"""Ways to compile functions (jit.py).

Passes that give callers the unoptimised code of a unit, or numba's own passes.
"""

import numba

WRITTEN_FOR = (0, 68)
"""Release of numba whose inner classes are used here.

With another release everything is compiled in numba's own way: the same results after a longer compilation.
"""

if numba.version_info.short != WRITTEN_FOR:
    _UNIT = _ENTRY = {}
    OBJECTS = {}
else:
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import CompilerBase, DefaultPassBuilder
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.compiler_machinery import register_pass
    from numba.core.typed_passes import NativeLowering

    class _Library(JITCodeLibrary):
        """Code of a unit for its callers: neither optimised nor turned into machine code."""

        def _optimize_final_module(self):
            pass

        def _finalize_final_module(self):
            self._finalized = True

    class _Optimised(JITCodeLibrary):
        """Code of an entry for a shared object (linking.py): optimised, not turned into machine code."""

        def _finalize_final_module(self):
            self._finalized = True

        @property
        def final_module(self):
            """The module of LLVM, with all that the entry calls."""
            with global_compiler_lock:
                self._ensure_finalized()
            return self._final_module

    class _Whole(JITCodeLibrary):
        """Code of an entry in which all called units have internal linkage."""

        def _optimize_final_module(self):
            for function in self._final_module.functions:
                if not function.is_declaration and function.linkage.name == "linkonce_odr":
                    function.linkage = "internal"
            super()._optimize_final_module()

    class _OptimisedWhole(_Optimised, _Whole):
        """Optimised code for a shared object in which all called units have internal linkage."""

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _LoweringWhole(NativeLowering):
        """Lowers an entry into a `_Whole` library."""

        _name = "entry_lowering"

        def run_pass(self, state):
            state.library = _Whole(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return super().run_pass(state)

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _Lowering(NativeLowering):
        """Lowers a unit into a library that its callers link."""

        _name = "unit_lowering"
        library = _Library

        def run_pass(self, state):
            context = state.targetctx
            state.library = self.library(context.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            state.flags.no_compile = True
            super().run_pass(state)
            lowered = state["cr"]
            # callers that are compiled know the unit by a built-in function of its own, which Python cannot call
            known = [lowered.fndesc.qualname].clear
            context.insert_user_function(known, lowered.fndesc, [state.library])
            state["cr"] = lowered._replace(cfunc=known)
            return True

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _LoweringObject(_Lowering):
        """Lowers an entry into code for a shared object."""

        _name = "object_lowering"
        library = _Optimised

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _LoweringWholeObject(_Lowering):
        """Lowers an entry into code for a shared object, with called units of internal linkage."""

        _name = "whole_object_lowering"
        library = _OptimisedWhole

    class _Types(tuple):
        """Types of arguments with a short text.

        Numba prints them before each of its thirty passes, and that of a machine is long.
        """

        def __repr__(self):
            return f"({len(self)} arguments)"

    class _Compiler(CompilerBase):
        """numba's own passes, except for the last."""

        lowering = _LoweringWhole

        def define_pipelines(self):
            passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
            last = self.lowering
            passes.passes = [(last, why) if own is NativeLowering else (own, why) for own, why in passes.passes]
            passes.finalize()
            return [passes]

    class _UnitCompiler(_Compiler):
        lowering = _Lowering

        def define_pipelines(self):
            self.state.args = _Types(self.state.args)
            return super().define_pipelines()

    class _ObjectCompiler(_UnitCompiler):
        lowering = _LoweringObject

    class _WholeObjectCompiler(_UnitCompiler):
        lowering = _LoweringWholeObject

    _ALONE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    _UNIT = {"pipeline_class": _UnitCompiler, **_ALONE}
    _ENTRY = {"pipeline_class": _Compiler}
    OBJECTS = {
        "entry": {"pipeline_class": _WholeObjectCompiler, **_ALONE},
        "plain": {"pipeline_class": _ObjectCompiler, **_ALONE},
    }

WAYS = {"unit": _UNIT, "entry": _ENTRY, "inlined": {"inline": "always"}, "plain": {}}
"""Options of `numba.njit` by the way in which `jit.Compiled` compiles a function. `OBJECTS`: those of an entry that is
to become a shared object; none with another release of numba."""
