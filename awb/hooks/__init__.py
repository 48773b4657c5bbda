"""Hooks that awb puts on a model: they run blocks, notice lost ones, and remember what was frozen or loaded.

Hooks are objects that hold plain data, never closures: a deepcopy of a model runs its own blocks, and pickling works.

hook             the base class of all of them
hosts            modules after which something runs, and the forward hook on them
steps            what runs there: a block, or the noting of a token grid
token_grid       the token grid of the forward pass in progress
guards           pre-hooks that refuse to run a model whose block is lost
connect          put on a model the hooks that run and guard one block
placed_blocks    the blocks in a present model, which may be wrapped or cut out by now
frozen_norms     a pre-hook that keeps batch norms frozen
changed_weights  a hook on loading, and which weights have changed since the blocks were attached
"""
