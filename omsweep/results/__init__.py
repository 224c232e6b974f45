"""What was found: numbers only. Fronts, studies, comparisons of arms."""
