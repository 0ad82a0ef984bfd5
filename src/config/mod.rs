//! Raw file to validated settings, exactly once; every problem reported at once.
