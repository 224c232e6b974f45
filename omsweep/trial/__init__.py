"""What one trial does, in one place: prepare, train, evaluate, save, merge. Knows neither Ray nor search spaces."""
