"""What makes the arithmetic of a step faster than the stock one."""
