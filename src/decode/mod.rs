//! Bytes to records, one file per wire format.
