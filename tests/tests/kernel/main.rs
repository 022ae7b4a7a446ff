//! netmon on the real kernel: namespaces stand for containers, and an engine that says what it is told to names them.
