//! How long recordings are.
