"""Who may speak, made ready: keys, certificates, bundles and topics.

`transport_certificates` has the X.509 of Kafka's TLS, `bundles` what lies in a party's folder, `federations` a whole federation at once.
Never sends a private key anywhere: requests and certificates travel."""
