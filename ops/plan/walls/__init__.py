"""Does anything get in, or reach further than it is declared to? What was seen of a stack in, numbered results out."""
