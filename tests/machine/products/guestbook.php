<?php
// The product of the fleet's tests: words are written to the database's master and read from a replica; one is cached.
header('Content-Type: text/plain');
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

function database(string $duty): mysqli
{
    [$host, $port] = explode(':', explode(',', $_SERVER["DATABASE_BLOG_$duty"])[0]);
    $made = mysqli_init();
    $made->options(MYSQLI_OPT_CONNECT_TIMEOUT, 3);
    $made->real_connect($host, 'p-blog', $_SERVER['DB_PASSWORD'], 'blog', (int) $port);
    return $made;
}

function cache(string $words): string
{
    [$host, $port] = explode(':', explode(',', $_SERVER['CACHE_SESSIONS_SERVERS'])[0]);
    $connection = fsockopen($host, (int) $port, $code, $words_of_error, 3);
    fwrite($connection, "$words\r\nquit\r\n");
    return stream_get_contents($connection);
}

$said = file_get_contents('php://input');
try {
    switch ($_SERVER['REQUEST_METHOD'] . ' ' . strtok($_SERVER['REQUEST_URI'], '?')) {
        case 'POST /install':
            database('MASTER')->query('CREATE TABLE words (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(40) UNIQUE)');
            echo "installed\n";
            break;
        case 'POST /words':
            $master = database('MASTER');
            $insert = $master->prepare('INSERT INTO words (word) VALUES (?)');
            $insert->execute([$said]);
            echo "$master->insert_id ", $master->query('SELECT @@report_host')->fetch_column(), "\n";
            break;
        case 'GET /words':
            $replica = database('REPLICAS');
            echo $replica->query('SELECT @@report_host')->fetch_column(), ':';
            foreach ($replica->query('SELECT word FROM words ORDER BY id DESC LIMIT 5') as $row) {
                echo " $row[word]";
            }
            echo "\n";
            break;
        case 'POST /cache':
            echo cache("set last 0 0 " . strlen($said) . "\r\n$said");
            break;
        case 'GET /cache':
            echo cache('get last');
            break;
        default:
            echo $_SERVER['DATABASE_BLOG_MASTER_NAME'], "\n";
    }
} catch (mysqli_sql_exception $error) {
    http_response_code(503);
    echo $error->getMessage(), "\n";
}
