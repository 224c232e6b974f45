"""What a sweep found, for people: front.json, front.png, report.html and tables for the terminal."""
