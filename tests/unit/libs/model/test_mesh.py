from libs.model.delta import Delta
from libs.model.ids import Ref, parse_ref, ref
from libs.model.mesh import ROW_TYPES, Key, Mesh, Table
from libs.model.settings import MeshSettings
from libs.model.workload import Namespace

A = Namespace(name="a", ref=Ref("Namespace//a"))
B = Namespace(name="b", ref=Ref("Namespace//b"))


def key(name: str) -> Key:
    return Key(Table.NAMESPACE, name)


def test_the_mesh_before_stays_as_it_was() -> None:
    before = Mesh().evolve([(key("a"), A)])
    after = before.evolve([(key("a"), None), (key("b"), B)])
    assert before.namespaces == {"a": A}
    assert after.namespaces == {"b": B}
    assert after.version == before.version + 1


def test_untouched_tables_are_the_same_objects() -> None:
    settings = MeshSettings(trust_domain="x")
    before = Mesh().evolve([(key("a"), A), (Key(Table.SETTINGS, ""), settings)])
    after = before.evolve([(key("b"), B)])
    assert after.rows(Table.SETTINGS) is before.rows(Table.SETTINGS)
    assert after.rows(Table.NAMESPACE) is not before.rows(Table.NAMESPACE)
    assert after.rows(Table.SERVICE) is before.rows(Table.SERVICE)


def test_removing_what_is_not_there_is_nothing() -> None:
    assert Mesh().evolve([(key("a"), None)]).namespaces == {}


def test_without_settings_istios_hold() -> None:
    assert Mesh().settings == MeshSettings()


def test_each_table_has_a_row_type() -> None:
    assert set(ROW_TYPES) == set(Table)


def test_a_delta_knows_its_tables_and_whether_anything_moved() -> None:
    delta = Delta(changed=frozenset({key("a")}), removed=frozenset({Key(Table.SERVICE, "x")}))
    assert delta
    assert delta.tables == {Table.NAMESPACE, Table.SERVICE}
    assert delta.keys == {key("a"), Key(Table.SERVICE, "x")}
    assert not Delta(causes=(Ref("Service/a/b"),), change=3)


def test_references_read_as_they_were_written() -> None:
    assert parse_ref(ref("Service", "shop", "web")) == ("Service", "shop", "web")
    assert parse_ref(ref("Node", "", "node/1")) == ("Node", "", "node/1")
