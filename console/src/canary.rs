//! `gwtop canary`: weights stepped by JSON patches, every step judged, rolled back by itself.
