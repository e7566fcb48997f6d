"""How good a prediction is: the confusion matrix, the scores read from it, and two folders compared."""
