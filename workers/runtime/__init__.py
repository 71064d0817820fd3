"""A worker at work: it hears of jobs, runs them, and delivers what they gave."""
