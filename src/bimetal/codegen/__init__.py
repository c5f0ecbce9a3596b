"""Native code from descriptions: layout, lowering to LLVM, decoder, interpreter, runtime, cache."""
