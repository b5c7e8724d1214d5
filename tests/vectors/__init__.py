"""What real and hostile terminators send, as data; `tables` reads the dialects' files."""
