//! Keeps the shape of the tree.
