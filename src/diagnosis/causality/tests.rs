//! Made-up clocks.
