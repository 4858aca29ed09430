//! Proof that the rules can fail.
