"""Files in object stores (s3://, gs://, az://): one layer for a store of runs and for inputs.

obstore and botocore are imported when a bucket is connected to, so that who has local files only never pays for them.
"""
