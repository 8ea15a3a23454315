//! Sockets: listen, frame, dispatch, call.
#![deny(unsafe_code)]
