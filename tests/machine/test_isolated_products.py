"""On a machine as users run it, with real accounts, PAM and systemd, no product reaches another one."""

from machine.container import Machine


def test_no_product_reaches_another_one_on_a_booted_machine(node: Machine) -> None:
    for name in ("blog", "video"):
        node.world.product(name, writable=["public/uploads"])
    node.world.publish()
    node.boot()
    diagnoses = node.rolecall("doctor", "--as-product", "blog")
    assert [diagnosis["what"] for diagnosis in diagnoses if not diagnosis["ok"]] == []
    tried = " ".join(diagnosis["what"] for diagnosis in diagnoses)
    for words in ("/var/log/apache2/products", "/run/php/rolecall-video.sock", "by a link at /uploads/"):
        assert words in tried, words
