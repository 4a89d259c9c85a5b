# shellcheck shell=bash
# web: Apache in front, a php-fpm pool behind it for each product, their cron jobs, and a client for their databases.
# What the agent renders for it is in templates/web.

packages <<'END'
# CentOS         Debian           why
httpd            apache2          serves the products: a virtual host each
php-fpm          php8.2-fpm       runs their PHP: a pool each
php-cli          php8.2-cli       runs their jobs
php-mysqlnd      php8.2-mysql     speaks to their databases
php-opcache      php8.2-opcache   keeps their code compiled
mariadb          mariadb-client   the client, for jobs and people
cronie           cron             starts their jobs
END

# CentOS has all of this on from the start.
setting debian 'php-fpm behind Apache; headers and rules in virtual hosts' a2enmod -q proxy_fcgi headers rewrite
setting debian 'no page of the distribution: a name that is no product gets 404' a2dissite -q 000-default

#       CentOS             Debian
enable  httpd.service      apache2.service
enable  php-fpm.service    php8.2-fpm.service
enable  crond.service      cron.service
