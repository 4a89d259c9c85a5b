# shellcheck shell=bash
# monitor: a Munin master and a Nagios server for the whole fleet. What the agent renders for them is in templates/monitor.

packages <<'END'
# CentOS             Debian                    why
nagios               nagios4-core              asks every server for what it is there for, and tells people
nagios-plugins       monitoring-plugins-basic  its plugins
nagios-plugins-http  -                         the same: asks products for their pages
nagios-plugins-tcp   -                         the same: asks databases and caches for an answer
perl-IO-Socket-IP    -                         its plugin check_node speaks to Munin nodes by it
munin                munin                     gathers figures and draws them
cronie               cron                      starts munin-cron every five minutes
s-nail               bsd-mailx                 sends what Nagios has to tell
END

#       CentOS             Debian
enable  nagios.service     nagios4.service
enable  crond.service      cron.service
