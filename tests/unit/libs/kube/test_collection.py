from libs.api.registry import BY_NAME, NETWORKING
from libs.kube.collection import of_kind


def test_a_kind_has_a_path_for_each_version_it_may_be_served_in() -> None:
    found = of_kind(BY_NAME[NETWORKING, "VirtualService"])
    assert found.name == "virtualservices.networking.istio.io"
    assert found.paths == tuple(
        f"/apis/networking.istio.io/{version}/virtualservices"
        for version in ("v1", "v1beta1", "v1alpha3")
    )


def test_the_core_group_has_no_name_and_namespaces_are_in_the_path() -> None:
    found = of_kind(
        BY_NAME["", "ConfigMap"], namespace="istio-system", field_selector="metadata.name=istio"
    )
    assert found.name == "configmaps"
    assert found.paths == ("/api/v1/namespaces/istio-system/configmaps",)
    assert found.params == {"fieldSelector": "metadata.name=istio"}


def test_metadata_alone_is_another_media_type_of_lists_and_of_events() -> None:
    found = of_kind(BY_NAME["", "Node"], metadata_only=True)
    assert "as=PartialObjectMetadataList" in found.accept_list
    assert "as=PartialObjectMetadata;" in found.accept_watch
