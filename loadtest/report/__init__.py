"""What a load test has measured, as a struct, as JSON, as one page of HTML and on the terminal."""
