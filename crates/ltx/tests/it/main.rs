//! Behaviour of the crate as a user sees it, against golden files and models.

mod corrupt;
mod decoder;
mod encoder;
mod golden;
mod merge;
mod properties;
mod sample;
mod trees;
