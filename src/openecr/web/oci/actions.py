"""The ECR actions that calls of the registry protocol imply (Service Authorization Reference, Amazon ECR)."""

BATCH_CHECK = "ecr:BatchCheckLayerAvailability"
BATCH_DELETE_IMAGE = "ecr:BatchDeleteImage"
BATCH_GET_IMAGE = "ecr:BatchGetImage"
COMPLETE_UPLOAD = "ecr:CompleteLayerUpload"
DESCRIBE_REPOSITORIES = "ecr:DescribeRepositories"
GET_LAYER = "ecr:GetDownloadUrlForLayer"
INITIATE_UPLOAD = "ecr:InitiateLayerUpload"
LIST_IMAGES = "ecr:ListImages"
PUT_IMAGE = "ecr:PutImage"
UPLOAD_PART = "ecr:UploadLayerPart"

MOUNT_SOURCE = (GET_LAYER,)
"""What a mount requires of the repository that it takes the blob from."""
