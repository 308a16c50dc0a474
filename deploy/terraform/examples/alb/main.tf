# An Application Load Balancer with mutual TLS before a service on ECS, whose tasks ask
# `crlcheck serve` beside the application: docs/guides/ecs.md.

data "aws_partition" "current" {}

data "aws_region" "current" {}

module "crlcheck" {
  source = "../.."

  name_prefix = var.name_prefix
  # Nothing invokes the authorizer here. It costs nothing then.
  authorizer_bundle    = "${var.bundles}/authorizer-arm64.zip"
  preprocessor_bundle  = "${var.bundles}/preprocessor-arm64.zip"
  issuers_writer_arns  = [var.deployer_arn]
  alarm_topic_arn      = var.alarm_topic_arn
  reserved_concurrency = var.reserved_concurrency
}

# ---- the load balancer -------------------------------------------------------

resource "aws_lb_trust_store" "clients" {
  name = var.name_prefix

  ca_certificates_bundle_s3_bucket         = aws_s3_object.truststore.bucket
  ca_certificates_bundle_s3_key            = aws_s3_object.truststore.key
  ca_certificates_bundle_s3_object_version = aws_s3_object.truststore.version_id
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:Its access log needs a bucket of the reader's; each decision is in the log of crlcheck.
  #checkov:skip=CKV2_AWS_28:A firewall is the reader's choice; it is no part of revocation.
  name                       = var.name_prefix
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "tasks" {
  #checkov:skip=CKV_AWS_378:The tasks are in private subnets, and only the load balancer reaches them.
  name        = var.name_prefix
  vpc_id      = var.vpc_id
  target_type = "ip"
  port        = 8080
  protocol    = "HTTP"

  health_check {
    path = "/healthz"
  }
}

# The only listener that forwards to the tasks. Whatever one without mutual TLS lets through
# may carry a header of the client's own, and nobody behind it can tell.
resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  mutual_authentication {
    mode            = "verify"
    trust_store_arn = aws_lb_trust_store.clients.arn
  }

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.tasks.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

# ---- who reaches whom --------------------------------------------------------

resource "aws_security_group" "load_balancer" {
  name        = "${var.name_prefix}-load-balancer"
  description = "The load balancer: anybody reaches it"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  #checkov:skip=CKV_AWS_260:It answers with a redirect only.
  for_each = toset(["80", "443"])

  security_group_id = aws_security_group.load_balancer.id
  description       = "Clients"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "nginx in the tasks"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

# Whoever reached nginx past the load balancer could set the header as he likes.
resource "aws_security_group" "tasks" {
  name        = "${var.name_prefix}-tasks"
  description = "The tasks: the load balancer reaches them, and nobody else"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "The load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  description       = "S3, ECR and CloudWatch Logs"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# ---- the service -------------------------------------------------------------

locals {
  # The task of docs/guides/ecs.md, with what is known here.
  task = jsondecode(file("${path.module}/../../../ecs/task-definition.json"))

  environment = {
    CRLCHECK_STORE   = module.crlcheck.store_url
    CRLCHECK_OBSERVE = tostring(var.observe)
    # The first CRL may be published after the first task has started.
    CRLCHECK_WAIT_FOR_SET = "true"
  }

  containers = [
    for container in local.task.containerDefinitions : merge(
      container,
      {
        image = var.images[container.name]
        environment = [
          for name, value in merge(
            { for one in try(container.environment, []) : one.name => one.value },
            container.name == "crlcheck" ? local.environment : {},
          ) : { name = name, value = value }
        ]
        logConfiguration = {
          logDriver = "awslogs"
          options = {
            awslogs-group         = aws_cloudwatch_log_group.tasks.name
            awslogs-region        = data.aws_region.current.region
            awslogs-stream-prefix = container.name
          }
        }
      },
    )
  ]

  assumed_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "ecs-tasks.amazonaws.com" }
        Action    = "sts:AssumeRole"
      },
    ]
  })
}

resource "aws_cloudwatch_log_group" "tasks" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs with a key of its own, and no line has a secret.
  #checkov:skip=CKV_AWS_338:Ninety days are what the module keeps too.
  name              = "/ecs/${var.name_prefix}"
  retention_in_days = 90
}

# The module's alarm of this name is on the authorizer, which nothing invokes here.
resource "aws_cloudwatch_log_metric_filter" "undetermined" {
  name           = "${var.name_prefix}-undetermined-in-tasks"
  log_group_name = aws_cloudwatch_log_group.tasks.name
  pattern        = "{ $.verdict = \"undetermined\" }"

  metric_transformation {
    namespace = "crlcheck"
    name      = "${var.name_prefix}-undetermined-in-tasks"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "undetermined" {
  alarm_name          = "${var.name_prefix}-undetermined-in-tasks"
  alarm_description   = "Clients were denied, or would be, of whom it is not known whether they are revoked"
  namespace           = "crlcheck"
  metric_name         = aws_cloudwatch_log_metric_filter.undetermined.name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arn[*]
  ok_actions          = var.alarm_topic_arn[*]
}

# Reads what is published, and writes nothing.
resource "aws_iam_role" "task" {
  name               = "${var.name_prefix}-task"
  assume_role_policy = local.assumed_by_tasks
}

resource "aws_iam_role_policy" "task" {
  name = "read-published"
  role = aws_iam_role.task.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${module.crlcheck.bucket_arn}/published/*"
      },
      # S3 answers 404 for what is not there only to those who may list.
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = module.crlcheck.bucket_arn
      },
    ]
  })
}

# Pulls the images, and writes the logs.
resource "aws_iam_role" "execution" {
  name               = "${var.name_prefix}-execution"
  assume_role_policy = local.assumed_by_tasks
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_97:Its only volume is the task's own scratch space.
  #checkov:skip=CKV_AWS_336:crlcheck's own container has it; the others are the reader's.
  family                   = var.name_prefix
  requires_compatibilities = local.task.requiresCompatibilities
  network_mode             = local.task.networkMode
  cpu                      = local.task.cpu
  memory                   = local.task.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode(local.containers)

  runtime_platform {
    cpu_architecture        = local.task.runtimePlatform.cpuArchitecture
    operating_system_family = local.task.runtimePlatform.operatingSystemFamily
  }

  dynamic "volume" {
    for_each = local.task.volumes

    content {
      name = volume.value.name
    }
  }
}

resource "aws_ecs_service" "this" {
  name            = var.name_prefix
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = 2
  launch_type     = "FARGATE"

  # ECS ends tasks that the load balancer finds unhealthy, unless they are younger than this.
  # One that cannot decide must go on: it still has what it read, and while it observes,
  # everybody passes. A task whose container ends is replaced all the same.
  health_check_grace_period_seconds = 2147483647

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.tasks.arn
    container_name   = "nginx"
    container_port   = 8080
  }

  # A target group without a listener is refused. Without the others the tasks could not pull
  # their images, log or read, and when all is destroyed they need them until they have ended.
  depends_on = [
    aws_iam_role_policy.task,
    aws_iam_role_policy_attachment.execution,
    aws_lb_listener.https,
    aws_vpc_security_group_egress_rule.load_balancer,
    aws_vpc_security_group_egress_rule.tasks,
    aws_vpc_security_group_ingress_rule.tasks,
  ]
}
