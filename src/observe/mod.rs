//! Metrics, HTTP API and the narration.
