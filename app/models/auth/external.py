"""The tables of sign-in at other providers: identities and trips."""
