"""The forms of the admin: what people type, paste and upload, read strictly."""
