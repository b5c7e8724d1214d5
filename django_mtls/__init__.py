"""The Django app: certificates to users, per-view policies, and an admin for enrolment and revocation."""
