"""Ask those who know people elsewhere: this computer's accounts, a directory, a Kerberos realm."""
