"""`ftgate ci` and `ftgate publish`: event -> changed configs -> runs -> published."""
