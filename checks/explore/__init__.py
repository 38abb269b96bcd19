"""The shipped engine, explored: every order of events up to the bounds of a world, judged by the promises.

worlds     which configurations are explored, and their bounds
subject    a shipped breaker that can be put into any state, moved once, and read
periods    the states of its engine, as rows of small numbers
account    what the promises say of every move, kept beside without looking at the engine
naive      the trip policies once more, for the account, as plain lists of outcomes
moves      what can happen in a state, and one move of both: the subject and the account
checks     where the two differ, and which promise that breaks
search     the search itself: breadth first, each state once
liveness   what can only be seen on the whole graph: that nothing lasts for ever
report     figures and counterexamples as people read them
processes  several worlds side by side
planted    what is found while a bug is planted in the shipped code
bugs       small ways to break it, each of which must be found
"""
