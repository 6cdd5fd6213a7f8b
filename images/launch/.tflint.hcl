# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The rules of the language itself, which are built into tflint. Those of AWS are a
# plugin that is downloaded; instance types and the like are judged by AWS.

plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Files here are named after what they have.
rule "terraform_standard_module_structure" {
  enabled = false
}
