"""What reaching AWS takes: the instance metadata service, credentials, signatures, boto3 and its errors in words."""
