"""Makes a bucket, once the server answers, or copies it: bucket.py make BUCKET | copy BUCKET DIR"""

import os
import pathlib
import sys
import time

import boto3
from botocore.exceptions import EndpointConnectionError

s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
bucket = sys.argv[2]
if sys.argv[1] == "make":
    for left in range(100, -1, -1):
        try:
            s3.create_bucket(Bucket=bucket)
            break
        except EndpointConnectionError:
            if not left:
                raise
            time.sleep(0.3)
else:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page["Contents"]:
            path = pathlib.Path(sys.argv[3]) / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, found["Key"], str(path))
