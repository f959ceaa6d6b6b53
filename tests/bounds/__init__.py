"""What clients may cost a server: heads, bodies, connections and the time that they take."""
