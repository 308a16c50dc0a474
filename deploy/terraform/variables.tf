# ---- all resources -----------------------------------------------------------

variable "name_prefix" {
  type        = string
  description = "The first part of the name of everything; 2 to 20 characters"
  default     = "crlcheck"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 2 to 20 lower-case letters, digits and hyphens."
  }
}

variable "preprocessor_bundle" {
  type        = string
  description = "The path of the preprocessor's zip file, as `make bundles` makes it for `architecture`"
}

variable "authorizer_bundle" {
  type        = string
  description = "The path of the authorizer's zip file, as `make bundles` makes it for `architecture`"
}

variable "architecture" {
  type        = string
  description = "The functions' processor, `arm64` or `x86_64`, the one that their bundles were made for"
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "A key in AWS KMS that encrypts the bucket; null for S3's own key"
  default     = null
}

variable "log_retention_days" {
  type        = number
  description = "How many days logs are kept"
  default     = 90

  validation {
    condition = contains(
      [
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557,
        2922, 3288, 3653
      ],
      var.log_retention_days
    )
    error_message = "log_retention_days must be a number of days that CloudWatch Logs knows, such as 30, 90 or 365."
  }
}

variable "permissions_boundary_arn" {
  type        = string
  description = "A policy that bounds the rights of the roles; null for none"
  default     = null
}

# ---- who may write where -----------------------------------------------------

variable "issuers_writer_arns" {
  type        = list(string)
  description = "ARNs of who may write `issuers/` and `truststore/`, and so decides whom to trust; empty for **nobody**"
  default     = []

  validation {
    condition     = alltrue([for arn in var.issuers_writer_arns : !strcontains(arn, ":assumed-role/")])
    error_message = "issuers_writer_arns must have the ARNs of roles, not of their sessions: AWS compares that of the role."
  }
}

variable "crl_writer_arns" {
  type        = list(string)
  description = "ARNs of who may write `crl/` from outside, such as a role of a CA's account"
  default     = []
}

variable "break_glass_role_arns" {
  type        = list(string)
  description = "ARNs of who may write `published/` beside the preprocessor, such as a role for operators on call"
  default     = []

  validation {
    condition     = alltrue([for arn in var.break_glass_role_arns : !strcontains(arn, ":assumed-role/")])
    error_message = "break_glass_role_arns must have the ARNs of roles, not of their sessions: AWS compares that of the role."
  }
}

# ---- where CRLs come from ----------------------------------------------------

variable "private_ca_arns" {
  type        = list(string)
  description = "ARNs of AWS Private CAs to trust, which may write their CRLs to `crl/`"
  default     = []
}

variable "fetch_urls" {
  type        = list(string)
  description = "`http://` and `https://` URLs of CRLs to fetch"
  default     = []

  validation {
    condition     = alltrue([for url in var.fetch_urls : !strcontains(url, ",")])
    error_message = "fetch_urls must not have a comma within a URL: write it as %2C."
  }
}

variable "fetch_schedule" {
  type        = string
  description = "When they are fetched, as EventBridge writes schedules"
  default     = "rate(1 hour)"
}

variable "fetch_private" {
  type        = bool
  description = "Whether they may lead to private addresses"
  default     = false
}

variable "event_source" {
  type        = string
  description = "How the preprocessor learns of an upload: `eventbridge` by a rule, `s3` by a notification of the bucket, `sqs` by a rule with a queue between"
  default     = "eventbridge"

  validation {
    condition     = contains(["eventbridge", "s3", "sqs"], var.event_source)
    error_message = "event_source must be eventbridge, s3 or sqs."
  }
}

variable "reserved_concurrency" {
  type        = number
  description = "How many preprocessors may run at once, kept free for it; 0 for no bound, in accounts with few"
  default     = 4

  validation {
    condition     = var.reserved_concurrency >= 0 && var.reserved_concurrency <= 1000
    error_message = "reserved_concurrency must be 0 to 1000."
  }

  validation {
    condition     = !(var.event_source == "sqs" && var.reserved_concurrency == 1)
    error_message = "event_source is sqs, which Lambda reads with two instances at least, so reserved_concurrency must not be 1."
  }
}

# ---- what the authorizer does ------------------------------------------------

variable "mode" {
  type        = string
  description = "`observe` lets everybody pass and logs what would be denied; `enforce` denies"
  default     = "observe"

  validation {
    condition     = contains(["observe", "enforce"], var.mode)
    error_message = "mode must be observe or enforce."
  }
}

variable "stale_grace" {
  type        = string
  description = "How long certificates that are not listed pass after their CRL's nextUpdate, such as `24h`; null denies them"
  default     = null

  validation {
    condition     = var.stale_grace == null || can(regex("^[1-9][0-9]*[smhd]$", var.stale_grace))
    error_message = "stale_grace must be a number and its unit, such as 24h, or null."
  }
}

variable "refresh_seconds" {
  type        = number
  description = "How old the catalog may grow before a request asks for a newer one; 0 asks every time"
  default     = 0

  validation {
    condition     = var.refresh_seconds >= 0
    error_message = "refresh_seconds must be 0 or more."
  }
}

variable "max_catalog_age_hours" {
  type        = number
  description = "For how many hours the authorizer uses a catalog that it cannot read again"
  default     = 12

  validation {
    condition     = var.max_catalog_age_hours >= 1 && floor(var.max_catalog_age_hours) == var.max_catalog_age_hours
    error_message = "max_catalog_age_hours must be a whole number, 1 or more."
  }
}

# ---- alarms ------------------------------------------------------------------

variable "alarm_topic_arn" {
  type        = string
  description = "The SNS topic that alarms go to; null for none"
  default     = null
}

variable "expiry_alarm_hours" {
  type        = number
  description = "How many hours before a CRL's nextUpdate an alarm is raised; less than the CA's interval"
  default     = 24

  validation {
    condition     = var.expiry_alarm_hours >= 1
    error_message = "expiry_alarm_hours must be 1 or more."
  }
}

variable "publication_alarm_hours" {
  type        = number
  description = "After how many hours without a CRL that was published or found unchanged an alarm is raised"
  default     = 24

  validation {
    condition     = var.publication_alarm_hours >= 2 && var.publication_alarm_hours <= 168
    error_message = "publication_alarm_hours must be 2 to 168."
  }
}
