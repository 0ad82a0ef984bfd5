//! A virtual platform and load generator; knows nothing of the detector.
