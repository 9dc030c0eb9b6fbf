"""What a method is given, how it says what the rows are made of, and how chains of methods are run. `tokgraft.methods` exports it."""
