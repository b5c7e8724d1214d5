"""The application that the servers of these tests run: it says who it believes a request to be from."""
