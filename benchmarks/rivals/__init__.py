"""The other systems' nights, each a script for an environment of its own: nothing of this project is imported here.

python SCRIPT TRAIN.csv OUT [VARIANT]

TRAIN.csv has the columns userId, movieId, rating, timestamp. OUT becomes a Parquet file, or a folder of them, with
user_id and item_id, the lists' rows in the order of rank unless there is a column `rank`. The last line on standard
output is a JSON object: seconds of read, fit, score and write.
"""
