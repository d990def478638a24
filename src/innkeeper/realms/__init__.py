"""Realms of accounts kept elsewhere: this computer's, an LDAP directory's, a Kerberos realm's."""
