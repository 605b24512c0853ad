"""What ends work from outside: the scope of what a thread may wait for, and the sweeper."""
