variable "name_prefix" {
  type        = string
  description = "The first part of the name of everything; at most 20 characters"
  default     = "orders"
}

variable "bundles" {
  type        = string
  description = "The directory of the bundles, as `make bundles` leaves them"
  default     = "../../../../build/bundles"
}

variable "deployer_arn" {
  type        = string
  description = "The ARN of the role that runs Terraform: it uploads whom to trust, and nobody else may"
}

variable "issuers_directory" {
  type        = string
  description = "A directory with the certificates of the CAs whose CRLs count, as `.pem`, `.crt`, `.cer` or `.der`"
}

variable "truststore_file" {
  type        = string
  description = "A PEM file with the CAs of the clients"
}

variable "certificate_arn" {
  type        = string
  description = "The load balancer's certificate in AWS Certificate Manager"
}

variable "images" {
  type        = map(string)
  description = "The image of each container of the task: `crlcheck` (deploy/Containerfile), `nginx` (with deploy/ecs/nginx.conf) and `orders`, the application"
}

variable "cluster_arn" {
  type        = string
  description = "The ECS cluster that the service runs in"
}

variable "vpc_id" {
  type        = string
  description = "The VPC of the load balancer and the tasks"
}

variable "public_subnet_ids" {
  type        = list(string)
  description = "The load balancer's subnets"
}

variable "private_subnet_ids" {
  type        = list(string)
  description = "The tasks' subnets, which reach S3, ECR and CloudWatch Logs by a NAT gateway or endpoints"
}

variable "observe" {
  type        = bool
  description = "Whether everybody passes, and the log says who would be denied"
  default     = true
}

variable "deletion_protection" {
  type        = bool
  description = "Whether AWS refuses to delete the load balancer"
  default     = true
}

variable "reserved_concurrency" {
  type        = number
  description = "How many preprocessors may run at once, kept free for it; 0 for no bound, in accounts with few"
  default     = 4
}

variable "alarm_topic_arn" {
  type        = string
  description = "The SNS topic that alarms go to; null for none"
  default     = null
}
