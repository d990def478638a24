"""Run the part of PowerShell that the kit for Windows guests is written in.

No PowerShell can be had where these tests run. What is here is our own reading of the documented language:
it finds slips (a name that is wrong, a list that is none, a branch that nobody has walked), and proves
nothing of Windows. What it does not know, it refuses.
"""
