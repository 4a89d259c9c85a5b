# An AMI of a role, for one architecture or both. What is in it is not said here: the builder runs the same `bake` that
# runs in a chroot and on a physical machine. `image-build/build ROLE --platform P --packer KIT` makes the kit.

variable "kit" {
  type        = string
  description = "Folder that image-build/build --packer has made: scripts, the agent's packages, settings."
}

variable "role" {
  type        = string
  description = "A file of image-build/roles."
}

variable "platform" {
  type        = string
  description = "The platform of agent.toml; it decides which image is begun with."
  validation {
    condition     = contains(["centos", "centos-mysql", "debian"], var.platform)
    error_message = "The platform is centos, centos-mysql or debian."
  }
}

variable "allow_unsigned" {
  type        = bool
  default     = false
  description = "The setting trust.unsigned is meant."
}

variable "region" {
  type        = string
  default     = null
  description = "By default that of the AWS profile."
}

variable "subnet" {
  type        = string
  default     = null
  description = "Where the builder runs; by default a subnet of the default VPC."
}

variable "instance_profile" {
  type        = string
  default     = null
  description = "None is needed: the builder reads nothing of AWS."
}

variable "kms_key" {
  type        = string
  default     = null
  description = "Encrypts the image; by default the account's own key for EBS."
}

variable "volume_gb" {
  type    = number
  default = 8
}

locals {
  stamp = formatdate("YYYYMMDD-hhmmss", timestamp())
  name  = "rolecall-${var.role}-${var.platform}"

  # What is begun with: the distribution's own images, by the account that publishes them.
  begin = {
    centos = {
      owner  = "125523088429"
      user   = "ec2-user"
      x86_64 = "CentOS Stream 10 x86_64 *"
      arm64  = "CentOS Stream 10 aarch64 *"
    }
    debian = {
      owner  = "136693071363"
      user   = "admin"
      x86_64 = "debian-12-amd64-*"
      arm64  = "debian-12-arm64-*"
    }
  }
  from = local.begin[split("-", var.platform)[0]]

  # In memory: nothing of the build is on the disk that becomes the image.
  kit = "/dev/shm/rolecall-kit"

  bake = join(" ", compact([
    "bash ${local.kit}/bake ${var.role} --platform ${var.platform} --image",
    var.allow_unsigned ? "--allow-unsigned" : "",
  ]))
}

source "amazon-ebs" "image" {
  region               = var.region
  subnet_id            = var.subnet
  iam_instance_profile = var.instance_profile
  ssh_username         = local.from.user

  ena_support           = true
  encrypt_boot          = true
  kms_key_id            = var.kms_key
  force_deregister      = false
  force_delete_snapshot = false

  # The builder asks for a token too, and so does every instance of the image, whoever starts it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  launch_block_device_mappings {
    device_name           = var.platform == "debian" ? "/dev/xvda" : "/dev/sda1"
    volume_type           = "gp3"
    volume_size           = var.volume_gb
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  run_tags = {
    Name = "${local.name} (being built)"
  }
}

build {
  source "amazon-ebs.image" {
    name          = "x86_64"
    ami_name      = "${local.name}-x86_64-${local.stamp}"
    instance_type = "t3.small"
    source_ami_filter {
      owners      = [local.from.owner]
      most_recent = true
      filters = {
        name                = local.from.x86_64
        architecture        = "x86_64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
    tags = {
      Name              = "${local.name}-x86_64"
      "rolecall:image"  = var.role
      "rolecall:source" = "{{ .SourceAMI }}"
    }
  }

  source "amazon-ebs.image" {
    name          = "arm64"
    ami_name      = "${local.name}-arm64-${local.stamp}"
    instance_type = "t4g.small"
    source_ami_filter {
      owners      = [local.from.owner]
      most_recent = true
      filters = {
        name                = local.from.arm64
        architecture        = "arm64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
    tags = {
      Name              = "${local.name}-arm64"
      "rolecall:image"  = var.role
      "rolecall:source" = "{{ .SourceAMI }}"
    }
  }

  # cloud-init installs Packer's key, and what else it has to do, before anything is taken away again.
  provisioner "shell" {
    remote_folder = "/dev/shm"
    inline        = ["cloud-init status --wait >/dev/null || true", "mkdir -m 700 ${local.kit}"]
  }

  provisioner "file" {
    source      = "${var.kit}/"
    destination = local.kit
  }

  provisioner "shell" {
    remote_folder   = "/dev/shm"
    execute_command = "sudo env {{ .Vars }} bash {{ .Path }}"
    inline          = [local.bake]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/usr/share/rolecall/image/manifest.json"
    destination = "${local.name}-${source.name}.manifest.json"
  }

  provisioner "file" {
    direction   = "download"
    source      = "/usr/share/rolecall/image/sbom.cdx.json"
    destination = "${local.name}-${source.name}.sbom.cdx.json"
  }

  post-processor "manifest" {
    output = "${local.name}.packer.json"
    custom_data = {
      role     = var.role
      platform = var.platform
    }
  }
}
